//! A KES that presents an expired certificate.

use super::{FaultRecord, GRACE, kes_of};
use crate::error::Error;
use crate::resource::Context;
use crate::stack::{Layout, Stack};

/// Puts an expired certificate of the stack's authority in the place of KES's own, and starts KES again: connections
/// that are open would not notice.
pub(super) async fn expire(stack: &Stack, context: &Context, record: &mut FaultRecord) -> Result<(), Error> {
    let path = stack.layout.kes_cert();
    record.certificate = Some(std::fs::read_to_string(&path).map_err(Error::file("read", &path))?);
    record.write(&stack.layout)?;
    overwrite(&stack.layout, &stack.material.expired_kes(&stack.manifest)?)?;
    let kes = kes_of(stack);
    context.engine.stop_container(&kes, GRACE).await?;
    Ok(context.engine.start_container(&kes).await?)
}

/// Undoes [`expire`], but for the server's memory of it.
pub(super) fn restore(layout: &Layout, record: &FaultRecord) -> Result<(), Error> {
    record.certificate.as_ref().map_or(Ok(()), |certificate| overwrite(layout, certificate))
}

/// In place: the container has this very file mounted, a renamed one would not reach it.
fn overwrite(layout: &Layout, certificate: &str) -> Result<(), Error> {
    let path = layout.kes_cert();
    std::fs::write(&path, certificate).map_err(Error::file("write", &path))
}
