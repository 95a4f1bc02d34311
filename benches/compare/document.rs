//! docs/BENCHMARKS.md: what was measured stands between two marks in it; the rest is written by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::report::{self, Section};

const BEGIN: &str = "<!-- Measured: written by `make bench`. -->\n";
const END: &str = "<!-- End of what was measured. -->\n";

/// Puts the sections into the document, and their plots beside it.
pub fn write(sections: &[Section]) -> Result<(), String> {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let plots = docs.join("plots");
    let document = docs.join("BENCHMARKS.md");
    let told = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    fs::create_dir_all(&plots).map_err(told(&plots))?;
    let old = fs::read_to_string(&document).map_err(told(&document))?;
    let parts = old
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or("docs/BENCHMARKS.md lacks its marks")?;
    let mut text = format!("{before}{BEGIN}\n{}\n", machine());
    text += "### Aims\n\n";
    text += &report::aims(sections).markdown();
    for section in sections {
        text += &format!("\n### {}\n\n{}", section.title, section.text);
        for plot in &section.plots {
            plot.write(&plots)?;
            text += &format!("![{}](plots/{})\n\n", plot.title, plot.file());
        }
    }
    text = format!("{}\n\n{END}{after}", text.trim_end());
    fs::write(&document, text).map_err(told(&document))
}

/// The machine, and the versions of who took part.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(|| "?".into(), |(_, value)| value.trim().to_string())
    };
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = read("/proc/cpuinfo");
    let sha = match field(&cpu, "flags").contains("sha_ni") {
        true => "with instructions for SHA",
        false => "without instructions for SHA",
    };
    let mut text = format!(
        "- {processors} processors, {}, {sha}; {} of memory; Linux {}\n",
        field(&cpu, "model name"),
        field(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
    );
    for package in ["aria2", "transmission-daemon", "opentracker", "mktorrent"] {
        let asked = Command::new("dpkg-query")
            .args(["-W", "-f=${Version}", package])
            .output();
        let version = asked.ok().filter(|output| output.status.success());
        let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
        text += &format!(
            "- {package} {}\n",
            version.as_deref().unwrap_or("is not there")
        );
    }
    text
}
