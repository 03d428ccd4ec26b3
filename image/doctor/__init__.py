"""`doctor`: who is this job to AWS, is that who it should be, and if not, why.

One command in the runner image, and beside it (`python3 image/doctor`): the standard library alone, no import of the project. Reads the AWS
config in force and the token, runs the probes of the SDK families that are here (`image/probes`), and names the cause of what is wrong.
Changes nothing, prints no credential. `config` and `token` read, `surroundings` looks around, `probes` asks, `diagnosis` judges, `report` says.
"""
