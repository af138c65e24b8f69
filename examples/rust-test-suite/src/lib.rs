//! An application that keeps its invoices in S3.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

/// For how long a signed request is valid.
const VALID: Duration = Duration::from_secs(60);
/// How long S3 may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A store of invoices.
pub struct Invoices {
    http: Client,
    bucket: Bucket,
    credentials: Credentials,
}

impl Invoices {
    /// The invoices in a bucket.
    pub fn new(endpoint: &str, bucket: &str, access_key: &str, secret_key: &str) -> Self {
        let endpoint: Url = endpoint.parse().expect("the endpoint is a URL");
        let bucket = Bucket::new(endpoint, UrlStyle::Path, bucket.to_owned(), "us-east-1").expect("a bucket's name");
        let http = Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { http, bucket, credentials: Credentials::new(access_key, secret_key) }
    }

    /// Keeps an invoice.
    pub async fn put(&self, number: u32, text: &str) -> Result<(), String> {
        let url = self.bucket.put_object(Some(&self.credentials), &format!("{number}.txt")).sign(VALID);
        let answer = self.http.put(url).body(text.to_owned()).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    }

    /// An invoice, if there is one of that number.
    pub async fn get(&self, number: u32) -> Result<Option<String>, String> {
        let url = self.bucket.get_object(Some(&self.credentials), &format!("{number}.txt")).sign(VALID);
        let answer = self.http.get(url).send().await.map_err(|error| error.to_string())?;
        match answer.status() {
            StatusCode::OK => answer.text().await.map(Some).map_err(|error| error.to_string()),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(other.to_string()),
        }
    }
}
