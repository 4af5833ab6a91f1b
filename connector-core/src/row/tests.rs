//! The codec against plain values.
