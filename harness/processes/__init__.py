"""Child processes: started, limited, watched and ended in one way."""
