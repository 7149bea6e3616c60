"""The worker process: started by an agent inside an environment, never imported by one."""
