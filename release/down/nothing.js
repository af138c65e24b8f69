// The work is done at the end of the job, by down.js.
