"""Parts of gsm8k_audit.py."""
