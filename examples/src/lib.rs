//! What the examples share: a small inventory, and the README, whose programs are compiled here.

#![doc = include_str!("../../README.md")]

use std::{fs, io, path::Path};

/// Writes the first state of an inventory.
///
/// # Errors
///
/// Those of the file system.
pub fn write_devices(folder: &Path) -> io::Result<()> {
    fs::write(
        folder.join("devices.csv"),
        "name,cores,bought\nPC-1,8,2024-05-31\nPC-2,4,2023-01-15\nSRV-1,64,\n",
    )
}

/// Writes its second state: one device is upgraded, one is new, one is gone.
///
/// # Errors
///
/// Those of the file system.
pub fn write_changed_devices(folder: &Path) -> io::Result<()> {
    fs::write(
        folder.join("devices.csv"),
        "name,cores,bought\nPC-3,16,2026-11-20\nPC-1,12,2024-05-31\nSRV-1,64,\n",
    )
}
