//! Log streams: `/v1/log/*`. Headers go out at once, lines as they come (kes-api §8.2).

use super::{
    authorize::Authorized,
    reply::{self, Reply},
};

pub(super) fn errors(call: &Authorized<'_>) -> Reply {
    let service = call.service();
    reply::lines(service.log.error_stream().follow(service.draining.clone()))
}

pub(super) fn audit(call: &Authorized<'_>) -> Reply {
    let service = call.service();
    reply::lines(service.log.audit_stream().follow(service.draining.clone()))
}
