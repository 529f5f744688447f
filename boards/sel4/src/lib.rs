//! What the programs of these domains share.
#![no_std]
