def environment(d): return {}
def lose_unsynced(d): pass
