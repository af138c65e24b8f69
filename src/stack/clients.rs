//! The clients that speak to the servers of a stack.

use std::sync::Arc;

use kes_server::client::{Client, Credentials, Timeouts, Trust};

use super::{Replica, Stack};
use crate::engine::Engine;
use crate::error::Error;
use crate::resource::Context;
use crate::servers::replicas::Replicas;
use crate::servers::s3::S3Client;

/// Clients of the two servers, as their administrators. Each keeps the connection that it made.
#[derive(Clone)]
pub struct Clients {
    /// KES, whichever server of it answers.
    pub kes: Arc<Client>,
    /// Each server of KES.
    pub replicas: Replicas,
    /// MinIO.
    pub s3: S3Client,
}

impl Stack {
    /// The clients through which resources are observed and made.
    pub fn context(&self, engine: Arc<dyn Engine>) -> Result<Context, Error> {
        let Clients { kes, replicas, s3 } = self.clients()?;
        Ok(Context { engine, kes, replicas, s3 })
    }

    /// Clients of KES and MinIO. Nothing is connected yet.
    pub fn clients(&self) -> Result<Clients, Error> {
        let endpoints: Vec<_> = self.replicas().into_iter().map(|replica| replica.endpoint).collect();
        let root = &self.material.credentials;
        let ca = &self.material.authority.cert_pem;
        let s3 = S3Client::trusting(Some(ca), &self.s3_endpoint(), &root.user, &root.password)?;
        let kes = self.kes_client(&endpoints)?;
        let replicas = match endpoints.as_slice() {
            // one server needs no second connection
            [endpoint] => Replicas::new([(endpoint.clone(), kes.clone())].into()),
            _ => self.replica_clients()?,
        };
        Ok(Clients { kes, replicas, s3 })
    }

    fn replica_clients(&self) -> Result<Replicas, Error> {
        let client = |replica: Replica| {
            let client = self.kes_client(std::slice::from_ref(&replica.endpoint))?;
            Ok((replica.endpoint, client))
        };
        let clients: Result<_, Error> = self.replicas().into_iter().map(client).collect();
        Ok(Replicas::new(clients?))
    }

    fn kes_client(&self, endpoints: &[String]) -> Result<Arc<Client>, Error> {
        let admin = &self.material.admin;
        let credentials = Credentials::from_pem(admin.cert_pem.as_bytes(), admin.key_pem.as_bytes())?;
        let trust = Trust::Pem(self.material.authority.cert_pem.clone().into_bytes());
        Ok(Arc::new(Client::new(endpoints, credentials, &trust, Timeouts::default())?))
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("replicas", &self.replicas).field("s3", &self.s3).finish_non_exhaustive()
    }
}
