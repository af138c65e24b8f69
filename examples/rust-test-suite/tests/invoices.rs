//! Each test has a bucket, a key and a user of its own, in a MinIO that all of them share.

use std::time::Duration;

use invoices::Invoices;
use kestack::testing::{Fault, Sandbox, Stack};

fn invoices(stack: &Stack, sandbox: &Sandbox) -> Invoices {
    let user = sandbox.credentials();
    Invoices::new(&stack.s3_endpoint(), sandbox.bucket(), &user.access_key, &user.secret_key)
}

#[tokio::test]
async fn an_invoice_is_kept() -> Result<(), kestack::Error> {
    let stack = Stack::shared().await?;
    let sandbox = stack.sandbox().await?;
    let invoices = invoices(stack, &sandbox);
    invoices.put(1, "100 EUR").await.unwrap();
    assert_eq!(invoices.get(1).await.unwrap().as_deref(), Some("100 EUR"));
    sandbox.remove().await
}

#[tokio::test]
async fn an_unknown_invoice_is_no_error() -> Result<(), kestack::Error> {
    let stack = Stack::shared().await?;
    let sandbox = stack.sandbox().await?;
    assert_eq!(invoices(stack, &sandbox).get(1).await.unwrap(), None);
    sandbox.remove().await
}

/// A test that breaks something has a stack of its own, which goes when it is dropped.
#[tokio::test]
async fn invoices_come_back_after_an_outage_of_kes() -> Result<(), kestack::Error> {
    let stack = Stack::builder().up().await?;
    let sandbox = stack.sandbox().await?;
    let invoices = invoices(&stack, &sandbox);
    invoices.put(1, "100 EUR").await.unwrap();
    let outage = stack.chaos(Fault::KesDown, Duration::from_secs(2));
    let felt = tokio::time::timeout(Duration::from_secs(30), async { while invoices.get(1).await.is_ok() {} });
    let (healed, felt) = tokio::join!(outage, felt);
    healed?;
    assert!(felt.is_ok(), "it was read without KES");
    assert_eq!(invoices.get(1).await.unwrap().as_deref(), Some("100 EUR"));
    stack.verify().await
}
