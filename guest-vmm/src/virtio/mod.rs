//! virtio devices over MMIO (virtio 1.2).
