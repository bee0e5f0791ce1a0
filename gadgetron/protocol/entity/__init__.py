"""The framed ISMRMRD protocol: entities in frames, multiplexed streams, a handshake."""
