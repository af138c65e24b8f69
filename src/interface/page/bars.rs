//! Bars of a measurement: one chart for each size, in it a group for each kind of work, in it a bar for each encryption.

use serde::Serialize;

use crate::operate::bench::{Figures, Scheme, Work, bytes};

/// Where bars begin, and how long the longest one is; the rest of the width is for their values.
const LEFT: f64 = 76.0;
const LONGEST: f64 = 168.0;
/// Heights of a bar with its gap, of a group's name, and of the gap below a group.
const BAR: usize = 22;
const NAME: usize = 22;
const GAP: usize = 10;

/// A chart of objects per second.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    title: String,
    height: usize,
    groups: Vec<Group>,
    /// What the chart says, for whoever does not see it.
    words: String,
}

/// What the clients did.
#[derive(Debug, Serialize)]
struct Group {
    name: &'static str,
    y: usize,
    bars: Vec<Bar>,
}

/// How fast that was in one kind of bucket.
#[derive(Debug, Serialize)]
struct Bar {
    name: &'static str,
    tone: &'static str,
    y: usize,
    length: String,
    /// The rounds with the lowest and the highest rate.
    from: String,
    to: String,
    value: String,
}

impl Chart {
    /// The charts of all sizes, in the order of the figures.
    pub(super) fn all(figures: &[Figures]) -> Vec<Self> {
        let mut sizes: Vec<_> = figures.iter().map(|one| one.size).collect();
        sizes.dedup();
        sizes.into_iter().map(|size| Self::of(size, figures)).collect()
    }

    fn of(size: usize, figures: &[Figures]) -> Self {
        let figures: Vec<_> = figures.iter().filter(|one| one.size == size).collect();
        let top = figures.iter().map(|one| one.objects_per_second.highest).fold(f64::MIN_POSITIVE, f64::max);
        let (mut groups, mut y) = (Vec::new(), 0);
        for work in [Work::Put, Work::Get, Work::Mix] {
            let bars: Vec<_> = figures.iter().filter(|one| one.work == work).collect();
            if bars.is_empty() {
                continue;
            }
            let first = y + NAME;
            let bars = bars.into_iter().enumerate().map(|(place, one)| Bar::of(one, top, first + place * BAR));
            let group = Group { name: name(work), y: y + 15, bars: bars.collect() };
            y = first + group.bars.len() * BAR + GAP;
            groups.push(group);
        }
        let title = format!("Objects of {} in a second", bytes(size));
        let said = groups.iter().map(|group| {
            let bars: Vec<_> = group.bars.iter().map(|bar| format!("{} {}", bar.name, bar.value)).collect();
            format!("{}: {}", group.name, bars.join(", "))
        });
        let words = format!("{title}. {}", said.collect::<Vec<_>>().join("; "));
        Self { title, height: y.max(1), groups, words }
    }
}

impl Bar {
    fn of(one: &Figures, top: f64, y: usize) -> Self {
        let rate = one.objects_per_second;
        let at = |value: f64| (value / top).clamp(0.0, 1.0) * LONGEST;
        let percent = one.percent.map(|percent| format!(" ({percent:.0} %)")).unwrap_or_default();
        let (name, tone) = match one.encryption {
            Scheme::None => ("in clear", "clear"),
            Scheme::SseS3 => ("SSE-S3", "s3"),
            Scheme::SseKms => ("SSE-KMS", "kms"),
        };
        Self {
            name,
            tone,
            y,
            length: format!("{:.1}", at(rate.median)),
            from: format!("{:.1}", LEFT + at(rate.lowest)),
            to: format!("{:.1}", LEFT + at(rate.highest)),
            value: format!("{:.0}{percent}", rate.median),
        }
    }
}

fn name(work: Work) -> &'static str {
    match work {
        Work::Put => "written",
        Work::Get => "read",
        Work::Mix => "written and read in turns",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::bench::Figure;

    fn figures(size: usize, work: Work, encryption: Scheme, rate: f64) -> Figures {
        let figure = |median: f64| Figure { median, lowest: median * 0.9, highest: median * 1.1 };
        Figures {
            size,
            work,
            encryption,
            objects: 100,
            objects_per_second: figure(rate),
            megabytes_per_second: figure(1.0),
            p50_milliseconds: figure(1.0),
            p99_milliseconds: figure(2.0),
            minio_microseconds: None,
            kes_microseconds: None,
            percent: (encryption != Scheme::None).then_some(rate / 10.0),
        }
    }

    #[test]
    fn bars_have_the_length_of_their_rate_and_stay_apart() {
        let all = [
            figures(4096, Work::Put, Scheme::None, 1000.0),
            figures(4096, Work::Put, Scheme::SseKms, 500.0),
            figures(4096, Work::Get, Scheme::SseKms, 250.0),
            figures(1 << 20, Work::Mix, Scheme::SseS3, 7.0),
        ];
        let charts = Chart::all(&all);
        assert_eq!(charts.len(), 2);
        let bars: Vec<_> = charts[0].groups.iter().flat_map(|group| &group.bars).collect();
        let shown: Vec<_> = bars.iter().map(|bar| (bar.tone, bar.length.as_str(), bar.value.as_str())).collect();
        assert_eq!(shown, [("clear", "152.7", "1000"), ("kms", "76.4", "500 (50 %)"), ("kms", "38.2", "250 (25 %)")]);
        assert_eq!((bars[0].from.as_str(), bars[0].to.as_str()), ("213.5", "244.0"), "the highest one is the longest");
        let rows: Vec<_> = bars.iter().map(|bar| bar.y).collect();
        assert!(rows.windows(2).all(|pair| pair[1] >= pair[0] + BAR) && charts[0].height >= rows[2] + BAR, "{rows:?}");
        assert!(charts[0].words.contains("written: in clear 1000, SSE-KMS 500 (50 %); read: "), "{}", charts[0].words);
        assert_eq!(charts[1].title, "Objects of 1MiB in a second");
    }

    #[test]
    fn a_measurement_without_an_object_has_no_length() {
        let charts = Chart::all(&[figures(1, Work::Put, Scheme::None, 0.0)]);
        assert_eq!(charts[0].groups[0].bars[0].length, "0.0");
        assert!(Chart::all(&[]).is_empty());
    }
}
