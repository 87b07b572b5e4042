"""One file = one model = one factory, named like the file: ``cellfx.models.tcvae.tcvae(spec, ...) -> Model``."""
