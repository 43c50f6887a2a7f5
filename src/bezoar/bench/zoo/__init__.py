"""A zoo of small trained models, clean and backdoored, with the truth about each kept apart, to measure inspections on."""
