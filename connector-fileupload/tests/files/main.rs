//! The connector on real folders.

#[cfg(test)]
mod discovery;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod support;
