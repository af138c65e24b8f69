//! What encryption costs: the last measurement as bars and figures, and a form that makes another one.

use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::bars::Chart;
use super::form::Filled;
use super::frame::Shown;
use crate::host::lock::Hold;
use crate::interface::Interface;
use crate::interface::call::Patience;
use crate::interface::given::invalid;
use crate::operate::bench::{self, CLIENTS, Measured, Plan};

/// Most sizes of one form: whoever sent it waits for all of them.
const SIZES: usize = 4;
/// Most seconds for each of them.
const SECONDS: u64 = 600;

#[derive(Serialize)]
struct View {
    last: Option<Measured>,
    charts: Vec<Chart>,
    rows: Vec<Row>,
    /// The command that measures the same.
    command: Option<String>,
}

/// A line of the table: the bars with all that was measured.
#[derive(Serialize)]
struct Row {
    size: String,
    work: String,
    encryption: String,
    figures: [String; 7],
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    sizes: String,
    clients: u16,
    seconds: u64,
}

pub(super) async fn show(State(interface): State<Interface>) -> Shown {
    let last = Measured::last(&interface.0.known.options().await?.layout())?;
    let figures = last.iter().flat_map(|last| &last.report.figures);
    let rows = figures.clone().map(Row::of).collect();
    let charts = last.as_ref().map(|last| Chart::all(&last.report.figures)).unwrap_or_default();
    let command = interface.command("kestack bench").await?;
    interface.show("bench.html", ("Bench", "bench"), &View { last, charts, rows, command }).await
}

pub(super) async fn measure(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(wanted): Filled<Wanted>,
) -> Shown {
    let (plan, this) = (wanted.plan()?, interface.clone());
    let measured = interface.run(move |interrupt| async move {
        let (_opened, reach) = this.held(Hold::Fault, patience, &interrupt).await?;
        Box::pin(bench::bench(reach.stack(), reach.context(), reach.pod.as_ref(), &plan, &interrupt)).await
    });
    measured.await?;
    Ok(interface.lead_to("/bench", "Measured: the figures are below."))
}

impl Wanted {
    fn plan(&self) -> Result<Plan, crate::interface::problem::Problem> {
        let words = self.sizes.split([',', ' ']).filter(|word| !word.is_empty());
        let sizes = words.map(bench::size).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        if sizes.is_empty() || sizes.len() > SIZES {
            return Err(invalid(format!("1 to {SIZES} sizes are measured at a time, such as 4KiB,1MiB")));
        }
        if !(1..=CLIENTS).contains(&self.clients) {
            return Err(invalid(format!("1 to {CLIENTS} clients work at a time")));
        }
        let time = bench::time(Duration::from_secs(self.seconds)).ok().filter(|_| self.seconds <= SECONDS);
        let time = time.ok_or_else(|| invalid(format!("each size is measured for 3 to {SECONDS} seconds here")))?;
        Ok(Plan::new(sizes, self.clients, time)?)
    }
}

impl Row {
    fn of(one: &bench::Figures) -> Self {
        let [size, work, encryption, _, figures @ ..] = one.cells();
        Self { size, work, encryption, figures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_asks_for_is_bounded() {
        let plan = |sizes: &str, clients, seconds| Wanted { sizes: sizes.into(), clients, seconds }.plan();
        assert!(plan("4KiB, 1MiB", 16, 6).is_ok());
        for (sizes, clients, seconds, said) in [
            ("", 1, 3, "1 to 4 sizes"),
            ("1,2,3,4,5", 1, 3, "1 to 4 sizes"),
            ("<b>", 1, 3, "is not a size"),
            ("1", 0, 3, "1 to 512 clients"),
            ("1", 513, 3, "1 to 512 clients"),
            ("1", 1, 2, "3 to 600 seconds"),
            ("1", 1, 601, "3 to 600 seconds"),
            ("256MiB", 2, 3, "too much memory"),
        ] {
            let refused = plan(sizes, clients, seconds).unwrap_err();
            assert!(format!("{refused:?}").contains(said), "{sizes}: {refused:?}");
        }
    }
}
