//! Buckets and their objects: what the console's fifth step did, with the encryption first.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::form::{Filled, some};
use super::frame::Shown;
use crate::interface::Interface;
use crate::interface::buckets::{self, Deletion, Encryption, Wanted};
use crate::interface::call::Patience;
use crate::interface::given::{Asked, Named};
use crate::manifest::BucketName;
use crate::operate::buckets::{self as stored, Entry};
use crate::servers::s3::objects::Listed;

#[derive(Serialize)]
struct Overview {
    buckets: Vec<Entry>,
    keys: Vec<String>,
    default_key: String,
}

#[derive(Serialize)]
struct Opened {
    bucket: Entry,
    keys: Vec<String>,
    objects: Vec<Listed>,
    next: Option<String>,
    prefix: String,
    after: String,
}

/// A bucket as a form wants it.
#[derive(Deserialize)]
pub(super) struct Made {
    name: String,
    encryption: Encryption,
    #[serde(default, deserialize_with = "some")]
    key: Option<String>,
    /// A checkbox.
    versioning: Option<String>,
    /// There is such a checkbox only where a bucket is made.
    #[serde(default, deserialize_with = "some")]
    new: Option<String>,
}

/// Which objects of a bucket.
#[derive(Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: String,
}

/// What to delete.
#[derive(Deserialize)]
pub(super) struct Gone {
    /// A checkbox: with its objects.
    force: Option<String>,
}

pub(super) async fn list(State(interface): State<Interface>) -> Shown {
    let reach = interface.0.known.running().await?;
    let (stack, context) = (reach.stack(), reach.context());
    let view = Overview {
        buckets: stored::list(stack, context).await?.buckets,
        keys: context.kes.list_keys("").await.unwrap_or_default(),
        default_key: stack.manifest.default_key.to_string(),
    };
    interface.show("buckets.html", ("Buckets", "buckets"), &view).await
}

pub(super) async fn make(State(interface): State<Interface>, patience: Patience, Filled(made): Filled<Made>) -> Shown {
    // a field that does not belong to the choice is not part of it
    let key = made.key.filter(|_| made.encryption == Encryption::SseKms);
    let new = made.new.is_some();
    let versioning = made.versioning.filter(|_| new).map(|_| true);
    let wanted = Wanted { name: made.name.trim().to_owned(), encryption: made.encryption, key, versioning };
    let bucket = buckets::settle(interface.clone(), patience, wanted, new).await?.into_inner();
    let with = match (bucket.encryption.as_str(), &bucket.key) {
        ("sse-kms", Some(key)) => format!("encrypts with key {key}"),
        ("sse-s3", _) => "encrypts with the stack's default key".to_owned(),
        _ => "stores objects in clear".to_owned(),
    };
    let place = format!("/buckets/{}", bucket.name);
    Ok(interface.lead_to(&place, format!("Bucket {} {with}.", bucket.name)))
}

pub(super) async fn one(
    State(interface): State<Interface>,
    Named(name): Named<BucketName>,
    Asked(Part { prefix, after }): Asked<Part>,
) -> Shown {
    let reach = interface.0.known.running().await?;
    let (stack, context) = (reach.stack(), reach.context());
    let bucket = stored::one(stack, context, name.as_str()).await?;
    let listing = context.s3.list_page(name.as_str(), &prefix, &after).await.map_err(crate::error::Error::from)?;
    let keys = context.kes.list_keys("").await.unwrap_or_default();
    let view = Opened { bucket, keys, objects: listing.objects, next: listing.next, prefix, after };
    interface.show("bucket.html", (name.as_str(), "buckets"), &view).await
}

pub(super) async fn delete(
    State(interface): State<Interface>,
    Named(name): Named<BucketName>,
    patience: Patience,
    Filled(Gone { force }): Filled<Gone>,
) -> Shown {
    let how = Asked(Deletion { force: force.is_some() });
    buckets::delete(State(interface.clone()), Named(name.clone()), how, patience).await?;
    Ok(interface.lead_to("/buckets", format!("Bucket {name} was deleted.")))
}
