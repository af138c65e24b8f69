//! One object from both sides: what a client learns and reads of it, and what is on the drive.

use std::collections::BTreeMap;

use crate::data::drive::{self, Content};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::manifest::BucketName;
use crate::resource::Context;
use crate::servers::s3::S3Error;
use crate::stack::Stack;

/// An object, as far as it can be seen at the moment: a fault may hide one side of it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The headers that describe it.
    pub(crate) properties: Result<BTreeMap<String, String>, S3Error>,
    /// Its first bytes as a client reads them.
    pub(crate) read: Result<Vec<u8>, S3Error>,
    /// Its first bytes on the drive; `None` if kestack does not know their form.
    pub(crate) stored: Result<Option<Content>, Error>,
}

/// Looks at the first `most` bytes of an object.
///
/// # Errors
/// [`Error::Absent`] if there is no such object.
pub(crate) async fn look(
    stack: &Stack,
    context: &Context,
    bucket: &BucketName,
    name: &str,
    most: u64,
) -> Result<Seen, Error> {
    let properties = context.s3.properties(bucket.as_str(), name).await;
    if properties.as_ref().is_err_and(S3Error::is_not_found) {
        return Err(Error::Absent {
            what: format!("there is no object '{name}' in bucket '{bucket}'"),
            hint: "look at the list of the bucket: somebody may have removed it".into(),
        });
    }
    let is_empty = properties.as_ref().is_ok_and(|all| all.get("content-length").is_some_and(|length| length == "0"));
    let read = async {
        if is_empty { Ok(Vec::new()) } else { Ok(context.s3.first_bytes(bucket.as_str(), name, most).await?.to_vec()) }
    };
    let (read, stored) = tokio::join!(read, stored(stack, bucket, name, most));
    Ok(Seen { properties, read, stored })
}

async fn stored(stack: &Stack, bucket: &BucketName, name: &str, most: u64) -> Result<Option<Content>, Error> {
    let folder = stack.layout.clone().seen_by_servers().drive();
    let (drive, bucket, name) = (folder.clone(), bucket.to_string(), name.to_owned());
    blocking("read", &folder, move || {
        drive::content(&drive, &bucket, &name, most).map_err(Error::file("read", drive.join(&bucket)))
    })
    .await
}
