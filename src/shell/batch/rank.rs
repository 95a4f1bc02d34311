//! Who this process is in a batch run: its rank, and of how many, as the launcher says it in
//! environment variables.
//!
//! | launcher | rank | size | job |
//! |---|---|---|---|
//! | our own | `MINI_BATCH_RANK` | `MINI_BATCH_SIZE` | `MINI_BATCH_JOB` |
//! | `mpirun` of Open MPI | `OMPI_COMM_WORLD_RANK` | `OMPI_COMM_WORLD_SIZE` | `PMIX_NAMESPACE` |
//! | `mpiexec` of MPICH | `PMI_RANK` | `PMI_SIZE` | none, but for `PMI_JOBID` |
//! | `srun` of Slurm | `SLURM_PROCID` | `SLURM_STEP_NUM_TASKS` | `SLURM_JOB_ID`, `SLURM_STEP_ID` |
//!
//! Rank 0 is the tracker; rank R is the client of `in<R>.txt`.

/// What our own launcher sets. Who has a launcher that is not in the table can set them, too.
pub const RANK: &str = "MINI_BATCH_RANK";
pub const SIZE: &str = "MINI_BATCH_SIZE";
/// Beside any launcher, too: where it names no job, runs at the same time in one folder need it.
pub const JOB: &str = "MINI_BATCH_JOB";

/// The most processes of a run: as many as connections to one tracker are sensible.
pub const MAX_SIZE: usize = 10_000;
/// The longest name of a job, in characters: it is a part of a file's name.
const MAX_JOB: usize = 64;
/// Set by launchers that do not say all that is needed here.
const UNKNOWN: [&str; 6] = [
    "PMIX_RANK",
    "PMI_ID",
    "MPI_LOCALRANKID",
    "MV2_COMM_WORLD_RANK",
    "PALS_RANKID",
    "ALPS_APP_PE",
];

/// The place of this process in a run. Invariant: `rank` is below `size`, and `size` is at least 2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rank {
    pub rank: usize,
    /// Of all processes: the tracker's, and one for each client.
    pub size: usize,
    /// The same in all processes of a run, and in no other run: letters, digits, `-`, `_` and `.`.
    /// None under MPICH alone.
    pub job: Option<String>,
    pub launcher: Launcher,
}

/// Who started this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Launcher {
    Own,
    OpenMpi,
    Mpich,
    Slurm,
}

/// Why the environment does not say who this process is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RankError {
    #[error("{variable} is set, but {missing} is not: the launcher says too little")]
    Missing {
        variable: &'static str,
        missing: &'static str,
    },
    #[error("{variable} is `{value}`: that is no number")]
    NotANumber {
        variable: &'static str,
        value: String,
    },
    #[error("the launcher gives this process rank {rank} of {size}: ranks end at {last}", last = size.saturating_sub(1))]
    Outside { rank: usize, size: usize },
    #[error(
        "the launcher started {0} process(es): a tracker and one client at least are needed, at most {MAX_SIZE}"
    )]
    Size(usize),
    #[error(
        "{0} is set: a launcher that is not known here started this process. Known are Open MPI, \
         MPICH and Slurm; for another one let a script set {RANK}, {SIZE} and {JOB}"
    )]
    UnknownLauncher(&'static str),
}

/// How a launcher names what we need.
struct Names {
    launcher: Launcher,
    rank: &'static str,
    /// The first one that is set counts.
    size: &'static [&'static str],
    /// All of them together; the first row of which all are set counts.
    job: &'static [&'static [&'static str]],
}

/// In this order: `mpirun` inside a job of Slurm's starts its own ranks, and MPICH does so even by
/// `srun`.
const LAUNCHERS: [Names; 4] = [
    Names {
        launcher: Launcher::Own,
        rank: RANK,
        size: &[SIZE],
        job: &[],
    },
    Names {
        launcher: Launcher::OpenMpi,
        rank: "OMPI_COMM_WORLD_RANK",
        size: &["OMPI_COMM_WORLD_SIZE"],
        job: &[&["PMIX_NAMESPACE"], &["OMPI_MCA_ess_base_jobid"]],
    },
    Names {
        launcher: Launcher::Mpich,
        rank: "PMI_RANK",
        size: &["PMI_SIZE"],
        job: &[&["PMI_JOBID"], &["SLURM_JOB_ID", "SLURM_STEP_ID"]],
    },
    Names {
        launcher: Launcher::Slurm,
        rank: "SLURM_PROCID",
        size: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        job: &[&["SLURM_JOB_ID", "SLURM_STEP_ID"]],
    },
];

/// Who this process is, after the variables that `lookup` finds; `None` if no launcher started it.
pub fn from_environment(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<Rank>, RankError> {
    let started = |names: &&Names| match names.launcher {
        // A job's script has a SLURM_PROCID, too: only what `srun` starts is a step.
        Launcher::Slurm => lookup(names.rank).is_some() && lookup("SLURM_STEP_ID").is_some(),
        _ => lookup(names.rank).is_some(),
    };
    let Some(names) = LAUNCHERS.iter().find(started) else {
        let unknown = UNKNOWN.into_iter().find(|name| lookup(name).is_some());
        return unknown.map_or(Ok(None), |name| Err(RankError::UnknownLauncher(name)));
    };
    let rank = number(names.rank, &lookup)?;
    let size = names.size.iter().find(|name| lookup(name).is_some());
    let size = size.ok_or(RankError::Missing {
        variable: names.rank,
        missing: names.size[0],
    })?;
    let size = number(size, &lookup)?;
    if !(2..=MAX_SIZE).contains(&size) {
        return Err(RankError::Size(size));
    }
    if rank >= size {
        return Err(RankError::Outside { rank, size });
    }
    let together = |row: &&[&str]| {
        let parts: Option<Vec<String>> = row.iter().map(|name| lookup(name)).collect();
        parts.map(|parts| parts.join("."))
    };
    let job = lookup(JOB).or_else(|| names.job.iter().find_map(together));
    Ok(Some(Rank {
        rank,
        size,
        job: job.map(|job| safe_job(&job)),
        launcher: names.launcher,
    }))
}

fn number(
    variable: &'static str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<usize, RankError> {
    let value = lookup(variable).unwrap_or_default();
    value.trim().parse().map_err(|_| RankError::NotANumber {
        variable,
        value: value.chars().take(MAX_JOB).collect(),
    })
}

/// A job's name that can stand in a file's name. Open MPI 5 has `prterun-host-77@1`.
fn safe_job(job: &str) -> String {
    let safe = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
        _ => '_',
    };
    // What differs between two jobs stands at the end.
    let skip = job.chars().count().saturating_sub(MAX_JOB);
    job.chars().skip(skip).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `variables` are `NAME=value` with blanks between.
    fn check(variables: &str, expect: &str) {
        let lookup = |wanted: &str| {
            let mut pairs = variables.split(' ').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value.to_string())
        };
        let got = match from_environment(lookup) {
            Ok(None) => "none".to_string(),
            Ok(Some(Rank {
                rank,
                size,
                job,
                launcher,
            })) => format!(
                "{launcher:?} {rank}/{size} {}",
                job.as_deref().unwrap_or("-")
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "for {variables}");
    }

    #[test]
    fn each_launcher_says_who_we_are() {
        check("HOME=/root", "none");
        check(
            "MINI_BATCH_RANK=0 MINI_BATCH_SIZE=4 MINI_BATCH_JOB=77-1",
            "Own 0/4 77-1",
        );
        // As Open MPI 4.1.4 sets them.
        check(
            "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3 PMIX_RANK=1 PMIX_NAMESPACE=1113456641",
            "OpenMpi 1/3 1113456641",
        );
        check(
            "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3 OMPI_MCA_ess_base_jobid=9",
            "OpenMpi 1/3 9",
        );
        check(
            "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3 PMIX_NAMESPACE=prterun-vm-77@1",
            "OpenMpi 1/3 prterun-vm-77_1",
        );
        // As MPICH 4.0.2 sets them.
        check(
            "PMI_FD=8 PMI_RANK=1 PMI_SIZE=2 MPI_LOCALRANKID=1",
            "Mpich 1/2 -",
        );
        check(
            "PMI_RANK=1 PMI_SIZE=2 MINI_BATCH_JOB=today",
            "Mpich 1/2 today",
        );
        check(
            "SLURM_PROCID=2 SLURM_NTASKS=9 SLURM_STEP_NUM_TASKS=4 SLURM_JOB_ID=5 SLURM_STEP_ID=0",
            "Slurm 2/4 5.0",
        );
        check(
            "SLURM_PROCID=2 SLURM_NTASKS=9 SLURM_JOB_ID=5 SLURM_STEP_ID=0",
            "Slurm 2/9 5.0",
        );
    }

    #[test]
    fn the_innermost_launcher_counts() {
        let slurm = "SLURM_PROCID=0 SLURM_NTASKS=9 SLURM_JOB_ID=5";
        // A job's script, in which `peer --batch` or mpirun starts the processes.
        check(slurm, "none");
        check(
            &format!("{slurm} OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 PMIX_NAMESPACE=1"),
            "OpenMpi 3/4 1",
        );
        check(
            &format!("{slurm} SLURM_STEP_ID=2 PMI_RANK=3 PMI_SIZE=4"),
            "Mpich 3/4 5.2",
        );
        check(
            "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1 MINI_BATCH_RANK=1 MINI_BATCH_SIZE=3",
            "Own 1/3 -",
        );
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (variables, expect) in [
            (
                "PMI_RANK=1",
                "PMI_RANK is set, but PMI_SIZE is not: the launcher says too little",
            ),
            (
                "PMI_RANK=x PMI_SIZE=2",
                "PMI_RANK is `x`: that is no number",
            ),
            (
                "PMI_RANK=-1 PMI_SIZE=2",
                "PMI_RANK is `-1`: that is no number",
            ),
            (
                "PMI_RANK=2 PMI_SIZE=2",
                "the launcher gives this process rank 2 of 2: ranks end at 1",
            ),
            (
                "PMI_RANK=0 PMI_SIZE=1",
                "the launcher started 1 process(es): a tracker and one client at least are needed, at most 10000",
            ),
            (
                "PMI_RANK=0 PMI_SIZE=99999",
                "the launcher started 99999 process(es): a tracker and one client at least are needed, at most 10000",
            ),
            (
                // As MPICH's `mpiexec -pmi-port`.
                "PMI_ID=0 PMI_PORT=vm:38231",
                "PMI_ID is set: a launcher that is not known here started this process. Known are \
                 Open MPI, MPICH and Slurm; for another one let a script set MINI_BATCH_RANK, \
                 MINI_BATCH_SIZE and MINI_BATCH_JOB",
            ),
        ] {
            check(variables, expect);
        }
    }

    #[test]
    fn a_job_can_stand_in_a_file_name() {
        assert_eq!(safe_job("../../x y\n"), ".._.._x_y_");
        assert_eq!(safe_job(&"ab".repeat(100)).len(), MAX_JOB);
    }
}
