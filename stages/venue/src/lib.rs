//! The simulated venue: a process of its own, reached over sockets.
#![forbid(unsafe_code)]
