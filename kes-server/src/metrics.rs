//! The server's counters (docs/kes-protocol.md §7), in the text format of Prometheus.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use prometheus::{
    Encoder as _, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::{memory, process};

/// Content type of [`Metrics::render`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

const BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 10.0];

/// All metrics of a process. Counting takes no lock.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    active: IntGauge,
    success: Requests,
    error: Requests,
    failure: Requests,
    response_time: Histogram,
    pub(crate) audit_events: IntCounter,
    pub(crate) error_events: IntCounter,
    refused_certificate: IntCounter,
    refused_by_policy: IntCounter,
    refused_handshake: IntCounter,
    certificate_end: IntGauge,
    authority_end: IntGauge,
    system: System,
}

#[derive(Debug)]
struct System {
    up_time: Gauge,
    cpus: IntGauge,
    usable_cpus: IntGauge,
    threads: IntGauge,
    heap: IntGauge,
    heap_objects: IntGauge,
    stack: IntGauge,
    locked: IntGauge,
    unlocked: IntGauge,
}

/// A family of counters by status code, with its most frequent member at hand. It shows up with its first sample.
#[derive(Debug)]
struct Requests {
    family: IntCounterVec,
    usual: (u16, OnceLock<IntCounter>),
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let times = HistogramOpts::new("kes_http_response_time", "Seconds from request to response.");
        Ok(Self {
            active: gauge(&registry, "kes_http_request_active", "Requests that are being served.")?,
            success: Requests::new(&registry, "kes_http_request_success", "Requests that were served.", 200)?,
            error: Requests::new(&registry, "kes_http_request_error", "Requests that were refused.", 404)?,
            failure: Requests::new(&registry, "kes_http_request_failure", "Requests that failed.", 502)?,
            response_time: registered(&registry, Histogram::with_opts(times.buckets(BUCKETS.to_vec()))?)?,
            audit_events: counter(&registry, "kes_log_audit_events", "Events sent to those who follow the audit log.")?,
            error_events: counter(&registry, "kes_log_error_events", "Events sent to those who follow the error log.")?,
            refused_certificate: counter(
                &registry,
                "kes_http_refused_certificate",
                "Requests without a certificate that counts.",
            )?,
            refused_by_policy: counter(&registry, "kes_http_refused_policy", "Requests that no policy allows.")?,
            refused_handshake: counter(
                &registry,
                "kes_tls_refused_certificate",
                "Connections whose certificate was refused.",
            )?,
            authority_end: gauge(&registry, "kes_tls_authority_end", "Last second of the first CA to end, or 0.")?,
            certificate_end: gauge(&registry, "kes_tls_certificate_end", "Last second of the server's certificate.")?,
            system: System::new(&registry)?,
            registry,
        })
    }

    /// Shows the counters of others as well.
    pub(crate) fn show(&self, collectors: Vec<Box<dyn Collector>>) -> prometheus::Result<()> {
        collectors.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    /// A request without a certificate, or with one that nobody vouches for.
    pub(crate) fn refused_certificate(&self) {
        self.refused_certificate.inc();
    }

    /// A request that no policy allows its identity.
    pub(crate) fn refused_by_policy(&self) {
        self.refused_by_policy.inc();
    }

    /// A connection whose certificate TLS does not accept.
    pub(crate) fn refused_handshake(&self) {
        self.refused_handshake.inc();
    }

    /// The server's certificate, and the first of the configured CAs to end, are valid until then, in seconds since 1970.
    /// 0 where there is none.
    pub(crate) fn certificates_end(&self, server: Option<Duration>, authority: Option<Duration>) {
        let seconds = |end: Option<Duration>| signed(end.unwrap_or_default().as_secs());
        self.certificate_end.set(seconds(server));
        self.authority_end.set(seconds(authority));
    }

    /// Counts a request that is being served until [`Self::finished`].
    pub(crate) fn started(&self) {
        self.active.inc();
    }

    /// Takes back [`Self::started`].
    pub(crate) fn finished(&self) {
        self.active.dec();
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16, time: Duration) {
        match status {
            0..400 => self.success.count(status),
            400..500 => self.error.count(status),
            _ => self.failure.count(status),
        }
        self.response_time.observe(time.as_secs_f64());
    }

    /// All of them as text, families sorted by name. `objects` is the number of things that the server keeps.
    pub(crate) fn render(&self, started: Instant, objects: usize) -> prometheus::Result<Vec<u8>> {
        self.system.refresh(started, objects);
        let mut text = Vec::with_capacity(8 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl System {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let up_time = Gauge::new("kes_system_up_time", "Seconds since the server started.")?;
        Ok(Self {
            up_time: registered(registry, up_time)?,
            cpus: gauge(registry, "kes_system_num_cpu", "Logical CPUs of the machine.")?,
            usable_cpus: gauge(registry, "kes_system_num_cpu_used", "Logical CPUs that the server may use.")?,
            threads: gauge(registry, "kes_system_num_threads", "Threads of the server.")?,
            heap: gauge(registry, "kes_system_mem_heap_used", "Bytes of memory in use.")?,
            heap_objects: gauge(registry, "kes_system_mem_heap_objects", "Cached keys, identities and connections.")?,
            stack: gauge(registry, "kes_system_mem_stack_used", "Bytes of the main thread's stack.")?,
            locked: gauge(registry, "kes_system_mem_keys_locked", "Bytes of keys that cannot be swapped out.")?,
            unlocked: gauge(registry, "kes_system_mem_keys_unlocked", "Bytes of keys that could not be locked.")?,
        })
    }

    fn refresh(&self, started: Instant, objects: usize) {
        let usage = process::usage();
        self.up_time.set(hundredths(started.elapsed()));
        self.cpus.set(signed(usage.cpus));
        self.usable_cpus.set(signed(usage.usable_cpus));
        self.threads.set(signed(usage.threads));
        self.heap.set(signed(usage.heap));
        self.heap_objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
        self.stack.set(signed(usage.stack));
        let keys = memory::report();
        self.locked.set(i64::try_from(keys.locked).unwrap_or(i64::MAX));
        self.unlocked.set(i64::try_from(keys.unlocked).unwrap_or(i64::MAX));
    }
}

impl Requests {
    fn new(registry: &Registry, name: &str, help: &str, usual: u16) -> prometheus::Result<Self> {
        let family = registered(registry, IntCounterVec::new(Opts::new(name, help), &["code"])?)?;
        Ok(Self { family, usual: (usual, OnceLock::new()) })
    }

    fn count(&self, status: u16) {
        let member = || self.family.with_label_values(&[&status.to_string()]);
        match &self.usual {
            (usual, counter) if *usual == status => counter.get_or_init(member).inc(),
            _ => member().inc(),
        }
    }
}

/// Seconds, to the hundredth.
fn hundredths(time: Duration) -> f64 {
    Duration::new(time.as_secs(), time.subsec_nanos() / 10_000_000 * 10_000_000).as_secs_f64()
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    registered(registry, IntGauge::new(name, help)?)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::new(name, help)?)
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_be_up_for_years() {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        assert!((hundredths(year * 10 + Duration::from_millis(1_239)) - 315_360_001.23).abs() < 1e-6);
    }

    #[test]
    fn answers_are_counted_by_class_and_families_appear_with_them() {
        let metrics = Metrics::new().unwrap();
        let text = |metrics: &Metrics| String::from_utf8(metrics.render(Instant::now(), 42).unwrap()).unwrap();
        assert!(!text(&metrics).contains("kes_http_request_success"));
        for status in [200, 200, 400, 404, 502] {
            metrics.answered(status, Duration::from_millis(20));
        }
        let text = text(&metrics);
        for line in [
            "kes_system_mem_heap_objects 42",
            "kes_http_request_success{code=\"200\"} 2",
            "kes_http_request_error{code=\"400\"} 1",
            "kes_http_request_error{code=\"404\"} 1",
            "kes_http_request_failure{code=\"502\"} 1",
            "kes_http_response_time_bucket{le=\"0.01\"} 0",
            "kes_http_response_time_bucket{le=\"0.05\"} 5",
            "kes_http_response_time_count 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
