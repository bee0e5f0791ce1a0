"""Every limit of the system, with its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass

from gadgetron.errors import LimitExceeded

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True)
class Limits:
    """Numbers that bound what one peer, one session and one server may use."""

    # Connections and sessions
    max_connections: int = 256
    max_sessions: int = 32  # configured chains that run at the same time
    listen_backlog: int = 256

    # Deadlines: absolute for a phase, from the moment the phase begins
    handshake_deadline_s: float = 10.0  # connect -> configuration
    header_deadline_s: float = 30.0  # configuration -> parameters
    frame_deadline_s: float = 30.0  # first byte of a message -> last byte, plus the next
    frame_deadline_s_per_mib: float = 1.0
    idle_between_frames_s: float = 30 * 60.0  # scanners pause
    stall_s: float = 60.0  # output pending, and the peer neither takes nor sends
    gone_client_s: float = 5.0  # all input is there, its sender is not: what computes for it may finish
    linger_s: float = 2.0  # after our last byte, for the peer to read it
    linger_bytes: int = 64 * MIB  # of what it still sends: less, and a reset would end its sending
    drain_deadline_s: float = 30.0  # SIGTERM: sessions may finish
    abort_deadline_s: float = 2.0  # an aborted session's threads
    stack_log_interval_s: float = 30.0  # a gadget that works on after CLOSE: its stack in the log

    # Foreign modules
    external_start_s: float = 120.0  # start of the program -> its connection; some interpreters take a minute
    external_connect_s: float = 20.0  # for a program that is running, or will be in a moment
    external_silence_s: float = 60.0  # waited for, and neither takes, nor sends, nor uses the processor
    external_exit_s: float = 5.0  # CLOSE -> its end
    external_kill_s: float = 1.0  # SIGTERM -> SIGKILL
    max_module_output_bytes: int = 512 * KIB  # in ten seconds: more is not logged, and the client is told

    # Bytes of one message
    max_config_bytes: int = 1 * MIB
    max_header_bytes: int = 4 * MIB
    max_text_bytes: int = 64 * KIB
    max_attribute_bytes: int = 1 * MIB
    max_acquisition_bytes: int = 128 * MIB
    max_waveform_bytes: int = 16 * MIB
    max_image_bytes: int = 1 * GIB
    max_blob_bytes: int = 1 * GIB
    max_recon_data_bytes: int = 1 * GIB  # a bucket, recon data, an image array

    # The framed protocol
    max_handshake_bytes: int = 65_535  # or the port could not tell the two protocols apart
    max_client_name_bytes: int = 1 * KIB
    max_manifest_entries: int = 1024
    max_command_entities: int = 1024
    max_streams: int = 4096  # that one session uses

    # XML
    max_xml_depth: int = 64
    max_xml_elements: int = 200_000

    # Chains
    max_gadgets: int = 128
    max_threads_per_gadget: int = 64
    max_threads_per_session: int = 256
    max_array_dimensions: int = 7
    max_array_axis: int = 65_535

    # Memory
    queue_messages: int = 64
    queue_bytes: int = 8 * MIB
    receive_block_bytes: int = 4 * MIB
    writer_queue_bytes: int = 16 * MIB  # above this the chain waits for the client, or output spills to a file
    max_spill_bytes: int = 8 * GIB
    max_session_bytes: int = 1 * GIB  # what one session may hold in buffers

    # Files that outlive a session
    max_stored_bytes: int = 64 * MIB  # one of them
    max_stored_files: int = 1000  # of one kind in one folder; the oldest make room
    max_debug_bytes: int = 1 * GIB  # all files of a debug_folder together
    max_debug_files: int = 10_000  # of one debug_folder


LIMITS = Limits()


def check(field: str, value: int, limit: int) -> None:
    """Raise LimitExceeded if a value is above its limit. Call before allocating for it."""
    if value > limit:
        raise LimitExceeded(field, value, limit)
