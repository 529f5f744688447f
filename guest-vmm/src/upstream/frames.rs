//! The wire between a guest's network device and the TCP client next to it.

/// Longest Ethernet frame on the wire, in bytes: an MTU of 1500 and the Ethernet header.
pub const FRAME_BYTES_MAX: usize = 1514;

/// The Ethernet link to a guest: frames without preamble and frame check sequence. Checksums need not
/// be computed on it.
pub trait Frames {
    /// Copies the next frame that the guest sent to the start of `into`, and returns its length. `None` if
    /// there is none. What does not fit into `into` is no frame of this link, and is dropped.
    fn receive(&mut self, into: &mut [u8]) -> Option<usize>;

    /// Hands a frame to the guest. False: it was dropped, as there is no room.
    fn send(&mut self, frame: &[u8]) -> bool;

    /// Whether there is room for a frame.
    fn can_send(&self) -> bool;
}
