"""The types that travel between rooms: frozen, saved, reopened, shown."""
