//! Plots as SVG, for docs/BENCHMARKS.md.

use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 420);
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
];
const FONT: (&str, u32) = ("sans-serif", 14);

/// Lines over an axis of powers.
pub struct Plot {
    /// Of the file, without its ending.
    pub name: String,
    pub title: String,
    /// What the axes are, with units.
    pub axes: [String; 2],
    pub lines: Vec<Line>,
    /// Whether the upward axis is of powers, too.
    pub log_up: bool,
}

pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Plot {
    pub fn file(&self) -> String {
        format!("{}.svg", self.name)
    }

    pub fn write(&self, folder: &Path) -> Result<(), String> {
        let path = folder.join(self.file());
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let drawn = match self.log_up {
            true => self.draw_log(&area),
            false => self.draw(&area),
        };
        drawn
            .and_then(|()| area.present().map_err(|error| error.to_string()))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The least and the most along one axis.
    fn range(&self, axis: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
        let values = self.lines.iter().flat_map(|line| &line.points).map(axis);
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        (least, most.max(least * 1.01))
    }

    fn draw(&self, area: &DrawingArea<SVGBackend, Shift>) -> Result<(), String> {
        let (left, right) = self.range(|point| point.0);
        let (_, top) = self.range(|point| point.1);
        let x = (left..right).log_scale();
        let mut builder = ChartBuilder::on(area);
        let chart = prepare(&mut builder, &self.title).build_cartesian_2d(x, 0.0..top * 1.1);
        self.fill(chart.map_err(|error| error.to_string())?)
    }

    fn draw_log(&self, area: &DrawingArea<SVGBackend, Shift>) -> Result<(), String> {
        let (left, right) = self.range(|point| point.0);
        let (bottom, top) = self.range(|point| point.1);
        let (x, y) = (
            (left..right).log_scale(),
            (bottom * 0.7..top * 1.5).log_scale(),
        );
        let mut builder = ChartBuilder::on(area);
        let chart = prepare(&mut builder, &self.title).build_cartesian_2d(x, y);
        self.fill(chart.map_err(|error| error.to_string())?)
    }

    fn fill<'a, 'b: 'a, X, Y>(
        &self,
        mut chart: ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>,
    ) -> Result<(), String>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let told = |error: DrawingAreaErrorKind<_>| -> String { format!("{error:?}") };
        let plain = |value: &f64| match *value {
            whole if whole >= 10.0 => super::report::number(whole.round()).replace(".0", ""),
            small => format!("{small}"),
        };
        (chart.configure_mesh())
            .x_desc(&self.axes[0])
            .y_desc(&self.axes[1])
            .x_label_formatter(&plain)
            .y_label_formatter(&plain)
            .label_style(FONT)
            .light_line_style(WHITE)
            .draw()
            .map_err(told)?;
        for (nth, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[nth % COLOURS.len()];
            let style = colour.stroke_width(2);
            (chart.draw_series(LineSeries::new(line.points.iter().copied(), style)))
                .map_err(told)?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            let dots = line
                .points
                .iter()
                .map(|&at| Circle::new(at, 3, colour.filled()));
            chart.draw_series(dots).map_err(told)?;
        }
        (chart.configure_series_labels())
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font(FONT)
            .draw()
            .map_err(told)
    }
}

fn prepare<'a, 'b, 'c, B: DrawingBackend>(
    builder: &'c mut ChartBuilder<'a, 'b, B>,
    title: &str,
) -> &'c mut ChartBuilder<'a, 'b, B> {
    builder
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(40)
        .x_label_area_size(44)
        .y_label_area_size(72)
}
