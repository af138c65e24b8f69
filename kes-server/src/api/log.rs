//! Log streams: `/v1/log/*`. Headers go out at once, lines as they come (docs/kes-protocol.md §8.2). A stream ends
//! with the timeout of its route, if it has one; after each reload it goes on only for those who may still call it.

use std::sync::Arc;

use super::{
    authorize::Authorized,
    reply::{self, Reply},
};
use crate::log::Stream;

pub(super) fn errors(call: &Authorized<'_>) -> Reply {
    follow(call, call.service().log.error_stream())
}

pub(super) fn audit(call: &Authorized<'_>) -> Reply {
    follow(call, call.service().log.audit_stream())
}

fn follow(call: &Authorized<'_>, stream: &Arc<Stream>) -> Reply {
    let (service, identity, path) = (Arc::clone(call.service()), call.identity().cloned(), call.path().to_owned());
    let may = move || service.state().may_call(identity.as_ref(), &path);
    reply::lines(stream.follow(call.service().draining.clone(), call.timeout(), may))
}
