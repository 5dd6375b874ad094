//! stub
pub mod unit;
