"""The igpo operator: reconciles IGPOTraining and LengthAlignedSFT into gangs of torchrun pods."""
