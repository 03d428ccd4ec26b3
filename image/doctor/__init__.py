"""`doctor`: the AWS identity of a job, whether it is the expected one, and the cause if it is not.

A command of the runner image. `python3 image/doctor` runs the same from a checkout. It uses the standard library alone and imports nothing
of the project, changes nothing and prints no credential. `aws_files`, `aws_config` and `web_token` read the job's files, `selectors` says
what selects the identity in each SDK, `container` looks at the container, `probes` asks STS through each SDK in `image/probes`, `diagnosis` finds the cause, `report` prints.
"""
