#!/bin/bash
cd /tmp/w/bundles; PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 exec .venv/bin/python -m pytest -p xdist -n 2 -p no:cacheprovider -q "$@"
