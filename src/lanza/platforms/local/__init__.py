"""The platform `local`: replicas as supervised, isolated processes of this machine."""
