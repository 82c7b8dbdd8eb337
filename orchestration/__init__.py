"""Deployment: definitions, resources, jobs, sensors, the command line."""
