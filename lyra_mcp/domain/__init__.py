"""Pure decisions: values in, values out; no clock, no storage, no socket, no tensor."""
