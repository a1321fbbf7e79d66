"""The networks, and the checkpoints that hold them. backbones.py says what every network takes and gives."""
