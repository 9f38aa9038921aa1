"""The model process: completes chats, by a provider that the configuration names."""
