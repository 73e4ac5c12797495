"""A network behind one Adapter; features as views of a site; outcomes; gradients. torch lives here."""
