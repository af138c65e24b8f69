//! Objects as people look at them: page by page, their properties, their first bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;

use super::{S3Client, S3Error};

/// Objects of one page.
const PAGE: usize = 100;

/// One page of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Its objects, by name.
    pub(crate) objects: Vec<Listed>,
    /// The name after which the next page begins; `None` on the last one.
    pub(crate) next: Option<String>,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// When it was written (RFC 3339).
    pub(crate) written: String,
}

impl S3Client {
    /// A page of the objects whose names start so, those after `after` if there is one.
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) async fn list_page(&self, bucket: &str, prefix: &str, after: &str) -> Result<Listing, S3Error> {
        let query = format!(
            "encoding-type=url&list-type=2&max-keys={PAGE}&prefix={}&start-after={}",
            encoded(prefix),
            encoded(after)
        );
        let page: Page = self.call(Method::GET, bucket, &query, Bytes::new()).await?.xml()?;
        let objects: Vec<_> = page.contents.into_iter().map(Content::listed).collect();
        let next = objects.last().filter(|_| page.is_truncated).map(|last| last.name.clone());
        Ok(Listing { objects, next })
    }

    /// The headers with which MinIO describes an object, by name.
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) async fn properties(&self, bucket: &str, key: &str) -> Result<BTreeMap<String, String>, S3Error> {
        let answer = self.call_on(Method::HEAD, &format!("{bucket}/{}", encoded(key)), "", &[], Bytes::new()).await?;
        let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    /// The first bytes of an object that is not empty.
    ///
    /// # Errors
    /// Those of the call.
    pub(crate) async fn first_bytes(&self, bucket: &str, key: &str, length: u64) -> Result<Bytes, S3Error> {
        self.start(&format!("{bucket}/{}", encoded(key)), "", length).await
    }
}

/// A name as a part of a path or a query: only letters, digits and few signs as they are.
pub(super) fn encoded(name: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    encoded.replace('+', "%20").replace("%2F", "/")
}

/// A name out of a listing that was asked for with `encoding-type=url`: names may hold signs that XML cannot.
pub(super) fn decoded(name: &str) -> String {
    let form = format!("name={name}");
    let name = form_urlencoded::parse(form.as_bytes()).next().map(|(_, name)| name.into_owned());
    name.unwrap_or_default()
}

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "Contents", default)]
    contents: Vec<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    last_modified: String,
    size: u64,
}

impl Content {
    fn listed(self) -> Listed {
        Listed { name: decoded(&self.key), bytes: self.size, written: self.last_modified }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_odd_signs_are_sent_and_read_back() {
        let name = "a/ü +%?&#\t<script>\u{1}\\\"'=~*";
        assert_eq!(encoded("a/b +%"), "a/b%20%2B%25");
        let content = Content { key: encoded(name), last_modified: String::new(), size: 1 };
        assert_eq!(content.listed().name, name);
        let page: Page = quick_xml::de::from_str(
            "<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated><Contents><Key>a+b%25</Key><LastModified>x\
             </LastModified><ETag>&#34;e&#34;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>\
             <Contents><Key>c</Key><LastModified>y</LastModified><Size>0</Size></Contents></ListBucketResult>",
        )
        .unwrap();
        assert!(page.is_truncated);
        let names: Vec<_> = page.contents.into_iter().map(|content| content.listed().name).collect();
        assert_eq!(names, ["a b%", "c"]);
    }
}
