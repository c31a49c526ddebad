"""The MCP server: owns the data and the rules, holds no model."""
