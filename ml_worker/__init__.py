"""The model worker: owns tensors, holds no data of any user."""
