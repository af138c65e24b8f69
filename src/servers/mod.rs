//! Clients of the servers that a stack runs. KES has one of its own: [`kes_server::client`].

pub mod admin;
pub mod bucket;
pub mod health;
pub mod replicas;
pub mod s3;
