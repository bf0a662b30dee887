"""From one result object, report.json's dict, to what people read. Every renderer is a pure function of that dict."""
