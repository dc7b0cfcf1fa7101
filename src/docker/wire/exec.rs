//! Further processes in containers.

use orc_host::exec::ExecSpec;

use crate::wire::json::Words;

wire! {
    CreateBody {
        user: String,
        privileged: bool,
        tty: bool,
        /// Lines and columns.
        console_size: Option<[u16; 2]>,
        attach_stdin: bool,
        attach_stderr: bool,
        attach_stdout: bool,
        /// The client's business.
        detach_keys: String,
        env: Vec<String>,
        working_dir: String,
        cmd: Words,
        /// Said again at the start.
        detach: bool,
        ..other
    }
}

wire! {
    CreateReply {
        id: String,
    }
}

wire! {
    StartBody {
        detach: bool,
        tty: bool,
        console_size: Option<[u16; 2]>,
    }
}

wire! {
    Inspect {
        #[serde(rename = "ID")]
        id: String,
        running: bool,
        exit_code: Option<i32>,
        process_config: ProcessConfig,
        open_stdin: bool,
        open_stderr: bool,
        open_stdout: bool,
        can_remove: bool,
        #[serde(rename = "ContainerID")]
        container_id: String,
        detach_keys: String,
        pid: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_spec: Option<ExecSpec>,
    }
}

// Alone in Docker's API, these members begin with a small letter.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct ProcessConfig {
    pub(crate) tty: bool,
    pub(crate) entrypoint: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) privileged: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
}
