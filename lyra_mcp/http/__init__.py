"""MCP over HTTP: who may ask, from where, how much and how often, before MCP sees a byte."""
