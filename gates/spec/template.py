"""The commented skeleton that `python -m gates new gate NAME` writes."""

TEMPLATE = """\
# yaml-language-server: $schema={schema}
gate: {name}                # the file's name
id: {id}
class: {class_}
epic: {epic}
title: One sentence that is true of the running system when this gate passes
why: Where the requirement comes from
target: {target}
needs: [{needs}]            # which processes of the target are started
config: {{}}                  # only keys that release.yaml allows
defaults: {{as: observer}}    # for every step below that sends requests and does not say otherwise
control:                    # must pass before anything else
  - request: {{get: /healthz}}
    expect: {{status: 200}}
scenario:
  - request: {{get: /v1/version}}
    name: version
assert:
  - that: the version is told
    from: requests where step = 'version'
    at_least: 1             # fewer rows than this is UNKNOWN, never PASS
    every: status = 200
falsified_by:
  - defect: what somebody could get wrong
    file: service/…           # below the target's `source`
    replace: "text that occurs exactly once"
    with: "what breaks it"
    fails: [the version is told]
"""
