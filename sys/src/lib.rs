//! The only room with `unsafe`: system calls that rustix and nix lack, each behind a safe, typed
//! function over owned or borrowed descriptors. Holds no policy and depends on no crate of ours.

#![allow(unsafe_code)]

pub mod bpf;
pub mod btrfs;
pub mod clone;
pub mod code;
pub mod disk;
pub mod dm;
pub mod entropy;
pub mod evdev;
pub mod exec;
pub mod fd;
pub mod landlock;
pub mod link;
pub mod lockdown;
pub mod loopback;
pub mod mount;
pub mod packet;
pub mod signal;
pub mod verity;
pub mod wait;
