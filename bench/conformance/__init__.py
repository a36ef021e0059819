"""What `bench check` demands of a submission or a workload; our own plug-ins pass it too."""
