"""The gateway: the control plane's HTTP and WebSocket surface."""
