"""GitLab's pipelines and jobs: records, the order of jobs, the queue of runners, and the job as a runner gets it."""
