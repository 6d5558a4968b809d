"""Sources of files that let transformers load an exported model: copied into exports, not imported."""
